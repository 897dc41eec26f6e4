#version 3.7;
#include "studio.inc"
// A twin-bell alarm clock, red enamel and brass.

Studio(1.1, <0.89, 0.90, 0.91>, 0.83, 1)
Lens(<0.5, 2.7, -12>, <0.0, 1.60, 0>, 20.2)

#declare Enamel = texture {
  pigment { rgb <0.44, 0.016, 0.016> }
  normal { bumps 0.015 scale 0.4 }
  finish { ambient 0 diffuse 0.8 reflection { 0.04, 0.35 falloff 5 } conserve_energy }
}
#declare Ink = texture { pigment { rgb 0.015 } finish { F_Satin } }
#declare R = 1.15;

#declare Case = lathe { // along y, turned to face -z below
  bezier_spline 16
  <0, -0.42>, <0.4, -0.42>, <0.7, -0.42>, <0.92, -0.38>
  <0.92, -0.38>, <1.08, -0.34>, <1.15, -0.24>, <1.15, -0.10>
  <1.15, -0.10>, <1.15, 0.10>, <1.15, 0.20>, <1.13, 0.36>
  <1.13, 0.36>, <1.11, 0.42>, <1.02, 0.42>, <0.99, 0.40>
}

#macro Digit(N)
  #local T = text { ttf "timrom.ttf" str(N, 0, 0) 0.02 0 };
  #local Lo = min_extent(T);
  #local Hi = max_extent(T);
  object {
    T translate -(Lo + Hi)/2*<1, 1, 0> scale <0.27, 0.27, 1>
    translate <0.70*sin(radians(N*30)), 0.70*cos(radians(N*30)), -0.318>
    texture { Ink }
  }
#end

#macro Hand(Len, W, Tail, Z)
  union {
    prism { linear_spline -0.008, 0.008, 6, <-W*0.5, -Tail>, <W*0.5, -Tail>, <W, Len*0.62>, <0, Len>, <-W, Len*0.62>, <-W*0.5, -Tail> rotate -90*x }
    translate Z*z
    texture { Ink }
  }
#end

#declare Bell = union {
  difference {
    sphere { 0, 0.52 }
    sphere { 0, 0.49 }
    plane { y, 0 }
    scale <1, 0.86, 1>
  }
  torus { 0.505, 0.022 }
  cylinder { -0.3*y, 0.50*y, 0.045 }
  sphere { 0.485*y, 0.075 scale <1, 0.9, 1> }
  texture { T_Brass }
}

union {
  // case, dial
  object { Case rotate -90*x texture { Enamel } }
  cylinder { -0.30*z, -0.20*z, 1.06 texture { pigment { rgb <0.84, 0.79, 0.67> } finish { F_Matte } } }
  cylinder { 0.38*z, 0.42*z, 0.95 texture { Enamel } }
  // bezel
  torus { 1.05, 0.075 rotate 90*x scale <1, 1, 1.2> translate -0.40*z texture { T_Brass } }
  difference { cylinder { -0.40*z, -0.28*z, 1.03 } cylinder { -0.5*z, -0.2*z, 0.99 } texture { T_Brass } }
  #for (I, 1, 12) Digit(I) #end
  #for (I, 0, 59)
    #if (mod(I, 5) = 0)
      box { <-0.014, 0.86, -0.304>, <0.014, 0.95, -0.29> rotate -I*6*z texture { Ink } }
    #else
      box { <-0.006, 0.895, -0.304>, <0.006, 0.95, -0.29> rotate -I*6*z texture { Ink } }
    #end
  #end
  // ten past ten
  object { Hand(0.52, 0.040, 0.12, -0.335) rotate (-305)*z }
  object { Hand(0.80, 0.030, 0.14, -0.352) rotate (-60)*z }
  object { Hand(0.36, 0.014, 0.05, -0.325) rotate (-195)*z }
  cylinder { -0.37*z, -0.30*z, 0.045 texture { T_Brass } }
  // domed glass
  intersection {
    sphere { 4.2*z, 4.72 }
    cylinder { -2*z, -0.40*z, 0.99 }
    texture { pigment { rgb 1 transmit 0.98 } finish { ambient 0 diffuse 0 reflection { 0.0, 0.30 falloff 3 } } }
    no_shadow
  }
  // feet
  #for (S, -1, 1, 2)
    union {
      cone { 0, 0.085, -0.50*y, 0.06 }
      sphere { -0.50*y, 0.085 }
      rotate S*28*z
      translate <S*0.52, -1.02, 0>
      texture { T_Brass }
    }
    // bells
    object { Bell translate 1.52*y rotate -S*28*z }
  #end
  // hammer
  cylinder { 1.10*y, 1.58*y, 0.03 texture { T_Steel } }
  union {
    cylinder { -0.13*x, 0.13*x, 0.10 }
    torus { 0.088, 0.014 rotate 90*z translate -0.13*x }
    torus { 0.088, 0.014 rotate 90*z translate  0.13*x }
    translate 1.57*y
    texture { T_Steel }
  }
  translate 1.547*y
  rotate 24*y
}
